"""Which blobs are in use: the references in rows and bodies, and the removal of the rest."""
