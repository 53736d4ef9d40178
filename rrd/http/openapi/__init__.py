"""The API's description of itself: an OpenAPI 3.1 document, made of small pieces beside the handlers.

``tests/openapi`` holds it against the router and against real answers of a daemon.

``operations``   operations, parameters and answers, and how each is written in OpenAPI
``codes``        what is refused: each code with a sentence, and which statuses all requests may meet
``schemas``      the shapes of what is sent and answered; bounds come from the settings
``parameters``   parameters that several paths take
``of_writing``   the paths that take events and metadata
``of_events``    the paths that give a recording's events
``of_lists``     the paths that tell of recordings
``of_erasing``   the paths that erase
``of_server``    health, the recorder script, and the document itself
``document``     all of it put together, for the settings of a daemon
``page``         the document as a page for people
``serving``      ``/openapi.json`` and ``/console/api``, made once for each set of settings
"""
