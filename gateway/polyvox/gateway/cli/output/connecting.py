"""What `polyvox up` prints: addresses, the key, the models, and a line for each client."""

import shlex
from collections.abc import Sequence

from rich.console import Console

from polyvox.activities.registry.virtual_models import ResolvedModel
from polyvox.gateway.own_keys import KEY_VARIABLE, OwnKeys
from polyvox.gateway.program import Program
from polyvox.worker.settings.shipped_templates import SIMULATED

_ASKED = "Should I cache or recompute?"
_FIRST_SIMULATED = "simulated-fusion"


def show(program: Program, console: Console) -> None:
    """Print base URL, key, models, links, and lines to paste for each client.

    The user key is printed once and only on a terminal: other output is often stored in a log.
    """
    base, runtime = program.base_url, program.runtime
    models = runtime.registry.models()
    out = console.print
    out("\n[bold]Polyvox is ready.[/bold]")
    out(f"  Base URL   {base}   (OpenAI clients: {base}/v1)")
    out(f"  Admin key  {program.keys.admin}")
    for number, model in enumerate(models):
        about = f"   {model.description}" if model.description else ""
        out(f"  {'Models ' if number == 0 else '       '}    {model.model}{about}")
    providers = ", ".join(sorted(runtime.providers))
    out(f"  Providers  {providers}   (any of their models: provider:model)")
    if program.ui_address:
        link = program.ui_address.enter_link(runtime.ui_sessions.issue_ticket())
        out(f"  Web UI     {link}   (opens once, within 10 minutes; later: polyvox ui)")
    out(f"  Data       {runtime.settings.data}")
    for sentence in program.keys.news:
        out(sentence, style="yellow", markup=False)
    out(f"\n[bold]Key[/bold]   {_about_key(program.keys)}")
    out(_key_line(program.keys, terminal=console.is_terminal), markup=False)
    for client, line in client_lines(base, shown_model(models, [*runtime.settings.models])):
        out(f"\n[bold]{client}[/bold]")
        out(line, markup=False)
    out("")


def shown_model(models: Sequence[ResolvedModel], declared: Sequence[str]) -> ResolvedModel | None:
    """Return the model that the printed lines name: the first one that ``polyvox.toml`` declares,
    else the operator's first by name, else a simulated one."""
    by_name = {model.model: model for model in models}
    own = [model.model for model in models if model.version and model.model not in SIMULATED]
    names = (*declared, *own, _FIRST_SIMULATED, *by_name)
    return next((by_name[name] for name in names if name in by_name), None)


def client_lines(base: str, model: ResolvedModel | None) -> list[tuple[str, str]]:
    """Return a line to paste for each client; it reads the key from ``POLYVOX_KEY``.

    Claude Code and Codex read the size of a model's context from their own settings. Claude Code
    sends titles and summaries to a second model, which is the same one here.
    """
    name = model.model if model else "MODEL"
    window = model.parsed_card.context_window if model else None
    claude = f"CLAUDE_CODE_MAX_CONTEXT_TOKENS={window} " if window else ""
    codex = f"-c model_context_window={window} " if window else ""
    curl_line = (
        f'curl {base}/v1/chat/completions -H "Authorization: Bearer ${KEY_VARIABLE}" '
        "-H 'Content-Type: application/json' "
        f'-d \'{{"model": "{name}", "stream": true, "messages": '
        f'[{{"role": "user", "content": "{_ASKED}"}}]}}\''
    )
    claude_line = (
        f'ANTHROPIC_BASE_URL={base} ANTHROPIC_AUTH_TOKEN="${KEY_VARIABLE}" '
        f"ANTHROPIC_DEFAULT_HAIKU_MODEL={name} {claude}claude --model {name}"
    )
    codex_line = (
        "codex -c model_provider=polyvox -c model_providers.polyvox.name=Polyvox "
        f"-c model_providers.polyvox.base_url={base}/v1 "
        f"-c model_providers.polyvox.env_key={KEY_VARIABLE} "
        f"-c model_providers.polyvox.wire_api=responses {codex}-m {name}"
    )
    return [("curl", curl_line), ("Claude Code", claude_line), ("Codex", codex_line)]


def _about_key(keys: OwnKeys) -> str:
    if keys.user is None:
        return "made earlier; `polyvox keys create` makes another"
    if keys.user_file is None:
        return f"the value of {KEY_VARIABLE} with which this server was started"
    return f"in {keys.user_file}; the lines below read it from {KEY_VARIABLE}"


def _key_line(keys: OwnKeys, *, terminal: bool) -> str:
    """Return the line that sets the variable in the shell of a client."""
    if keys.user is None:
        value = "YOUR_KEY"
    elif terminal:
        value = shlex.quote(keys.user)
    elif keys.user_file is not None:
        value = f'"$(cat {shlex.quote(str(keys.user_file))})"'
    else:
        value = "YOUR_KEY"
    return f"export {KEY_VARIABLE}={value}"
