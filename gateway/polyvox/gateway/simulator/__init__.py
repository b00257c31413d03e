"""A provider without a model: deterministic rules behind all three protocols, over real HTTP.

With it, anyone can try, test and demonstrate flows without keys. The answer depends only on the
request (``rules``); speed and faults depend on the model name (``plan``). Every answer is labelled:
texts start with ``[simulated:PERSONA] ``, responses have the header ``x-simulated: true``.
"""
