"""parsegate: a GraphQL gateway for the metadata of Apache Airflow's DAG processor.

``parsegate.gateway`` serves the contract that ``parsegate.schema`` declares and ``parsegate.resolvers``
fulfils on Airflow's own models; ``parsegate.client`` is the DAG processor that runs without a database.
"""

__version__ = "0.1.0"
