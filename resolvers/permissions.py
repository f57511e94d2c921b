"""What an operator's token must allow before anything is changed on its behalf."""

from __future__ import annotations

from .principal import Permission, Principal
from .refusals import Refusal, RefusalReason


def require_permission(principal: Principal, permission: Permission) -> None:
    """Nothing, when the caller may do it.

    :raises Refusal: NOT_PERMITTED
    """
    if permission not in principal.permissions:
        raise Refusal(
            RefusalReason.NOT_PERMITTED,
            f"The token of {principal.subject} does not allow {permission.value}. Mint one that does: "
            f"parsegate token operator --allow {permission.value}",
        )


def require_bundle(principal: Principal, bundle_name: str) -> None:
    """Nothing, when the caller's token grants the bundle.

    :raises Refusal: BUNDLE_NOT_GRANTED
    """
    if not principal.grants_bundle(bundle_name):
        raise Refusal(
            RefusalReason.BUNDLE_NOT_GRANTED,
            f"The token of {principal.subject} does not grant bundle {bundle_name}. Mint one that names it in "
            "--bundles.",
        )
