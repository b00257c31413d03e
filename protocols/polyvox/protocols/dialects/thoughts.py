"""Which models require their thoughts back, whatever server runs them."""

from polyvox.protocols.dialects.dialect import Thoughts


def thoughts_wanted(model: str, by_server: Thoughts) -> Thoughts:
    """Return in which messages ``reasoning_content`` is required, by the model, else the server.

    DeepSeek's and Kimi's models refuse a history without it, also behind servers of others
    (https://github.com/esengine/DeepSeek-Reasonix/pull/10084 and
    https://github.com/moltis-org/moltis/pull/304; read 2026-11-28). Moonshot's older models do not
    think.
    """
    name = model.lower()
    if "moonshot-v1" in name:
        return "optional"
    if "deepseek" in name:
        return "always"
    return "with_calls" if "kimi" in name else by_server
