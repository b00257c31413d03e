"""What the decoders of all provider protocols share: bodies, call arguments, finish reasons."""
