"""The processor's side: a DAG processor that stores and reads everything through the gateway.

Nothing here imports ``parsegate.schema``, ``parsegate.resolvers`` or ``parsegate.gateway``: the two sides share
``schema.graphql`` alone, through the client generated from it in ``parsegate.client.generated``.
"""
