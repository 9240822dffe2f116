"""Logic puzzles: one module a puzzle, and the environment over them (`r1env.envs.logic.env`).

Every puzzle module offers the same five functions over plain JSON-able data:
`generate` draws a puzzle, `question` words it, `solve` writes a right answer, `working` derives it honestly,
and `score` reads any answer and says whether it is right, with one line of why.
"""
