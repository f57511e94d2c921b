"""Alembic history of parsegate's own tables, with a version table of its own in Airflow's metadata database."""
