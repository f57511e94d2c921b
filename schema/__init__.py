"""The contract in Strawberry: types, inputs, enums and root fields. It declares; it runs no SQL."""
