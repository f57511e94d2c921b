"""The gateway's clients: a DAG processor that stores and reads everything through it, and operators' tools.

``parsegate.client.operator`` and the commands on it (``status``, ``wait`` and the like) need no Airflow.

Nothing here imports ``parsegate.schema``, ``parsegate.resolvers`` or ``parsegate.gateway``: the two sides share
``schema.graphql`` alone, through the client generated from it in ``parsegate.client.generated``.
"""
