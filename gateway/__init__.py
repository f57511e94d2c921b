"""The trusted process around the contract: ASGI application, authentication, settings, command line, migrations."""
