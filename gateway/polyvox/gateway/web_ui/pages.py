"""Polyvox's own pages in a browser. They load nothing and run no script."""

from html import escape

from starlette.responses import HTMLResponse

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}"
    "input,button{font:inherit;padding:.4rem .6rem}input{width:18rem;max-width:100%}"
)
# referrer-policy: a browser sends Origin with the form only if it may send the referrer; with
# "no-referrer" the Origin would be "null".
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


def sign_in_page(message: str, status: int, going_to: str) -> HTMLResponse:
    """Return the page that asks for an admin key; ``going_to`` is the path to open then."""
    return page(
        f"""<p>{escape(message)}</p>
<form method="post" action="/ui/sign-in">
<input type="hidden" name="next" value="{escape(going_to)}">
<p><label>Admin key<br>
<input type="password" name="key" autocomplete="current-password" required></label>
<button>Sign in</button></p>
</form>""",
        status,
    )


def onward_page(path: str) -> HTMLResponse:
    """Return a page that continues to ``path`` by itself.

    Not a redirect: after a click in another site's page (a terminal in a browser, a chat) the
    browser would follow it without the new cookie, which is SameSite=Strict.
    """
    there = escape(path)
    return page(
        f'<p>Signed in. <a href="{there}">Continue to the Web UI</a></p>',
        200,
        f'<meta http-equiv="refresh" content="0;url={there}">',
    )


def sentence_page(message: str, status: int) -> HTMLResponse:
    """Return a page with one sentence."""
    return page(f"<p>{escape(message)}</p>", status)


def page(body: str, status: int, head: str = "") -> HTMLResponse:
    """Return a page around ``body``, which is HTML like ``head``."""
    return HTMLResponse(
        f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Polyvox</title>
<meta name="viewport" content="width=device-width">{head}<style>{_STYLE}</style></head>
<body><h1>Polyvox</h1>
{body}
</body></html>
""",
        status,
        _HEADERS,
    )
