"""A provider without a model: deterministic rules behind all three protocols, over real HTTP.

It exists so that anyone can try, test and demonstrate flows without keys. What it answers follows
from the request alone (``rules``); how fast, and whether it fails, follows from the model name
(``plan``). Everything it says is labelled: texts start with ``[simulated:PERSONA] ``, responses
carry ``x-simulated: true``.
"""
