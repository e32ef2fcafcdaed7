"""How the property tests of this room run: no limit on time, which belongs to the machine, and nothing left on disk."""

from hypothesis import settings

settings.register_profile("oci", deadline=None, database=None)
settings.load_profile("oci")
