"""The second wall: stops a rendering whose answers break the rules, whichever way they came.

The rules run in cookiecutter's own process while it renders this script, so that an answer never becomes code:
what arrives here is the refusal's text in hexadecimal digits, and nothing needs to be imported.
"""

raise SystemExit(bytes.fromhex("{{ cookiecutter | refusal | hexadecimal }}").decode() or None)
