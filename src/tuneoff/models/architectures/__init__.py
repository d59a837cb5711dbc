"""The architectures that Tuneoff knows, kin by kin; each class is one (see `tuneoff.models.architecture`)."""
