"""A leaderboard that runs itself: results as JSON that is checked, a static site that is built from them.

    results/        what was measured, one file an evaluation         boards.json   what results must have in common
    reported.csv    what others have reported, with sources.json      result.schema.json   what a result is

`results.from_evaluation` makes a result, `check.check` lets through what is in order, `build.build` makes the site, and
`cards.write` says the same on a model's page. `r1-bench leaderboard` calls them, here and in GitHub's workflows.
"""
