"""What the HTTP API is, as OpenAPI 3.1 at /openapi.json: every route, and everything it answers.

A module for each resource holds its operations, next to the handlers of the same name; parameters
and schemas are made from the constants that the parsers read, so that a limit is written once.

**To add a route**, put an `Operation` for each of its methods into the `OPERATIONS` of the module
of its resource (a new module: add it to `document.RESOURCES`):

    Operation(
        "GET", "/v1/things/{name}", "get_thing", "One thing",
        who=Who.CALLER,
        parameters=(in_path("name", BACKGROUND_NAME.pattern),),
        answers={200: json_answer("The thing", THING)},
        problems=(UNKNOWN_THING,),
    )

What follows from `who` (401, 403, 429, 503 of key sets), from `body` (400, 408, 413, 415) and what
holds for every address (403, 421, 500, the headers that all answers carry, HEAD for GET, OPTIONS)
is added by `operation.py`. A kind of problem with members of its own is described in `problem.py`.
`tests/web/openapi/` holds the document against the routes, the table and a live service.
"""
