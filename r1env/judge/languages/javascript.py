"""JavaScript by node, where it is installed."""

from __future__ import annotations

from r1env.judge.languages.base import Language

JAVASCRIPT = Language(
    name="javascript",
    title="JavaScript",
    tags=("js", "node", "nodejs", "mjs", "ecmascript"),
    signs=("console.log(", "require(", "=> ", "function ", "const ", "let ", "process.stdin", "===", "var "),
    suffix=".js",
    run=("node", "{source}"),
)
