"""What verifying one token costs: `python -m tests.policy.token_cost`, us of CPU, best of seven."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from service.policy.keys import parse_pem
from service.policy.platform_tokens import PlatformTokens
from service.policy.tokens import Tokens
from tests.web.signing import ALGORITHMS, AUDIENCE, ISSUER, pem, private_key, signed

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_800_000_000.0
CALLS = 300


def cost_us(call: Callable[[], object]) -> float:
    """CPU time of the thread for one call."""
    best_s = float("inf")
    for _ in range(7):
        began_s = time.thread_time()
        for _ in range(CALLS):
            call()
        best_s = min(best_s, (time.thread_time() - began_s) / CALLS)
    return best_s * 1e6


def main() -> None:
    keys = parse_pem("".join(pem(private_key(algorithm)) for algorithm in ALGORITHMS))
    platform = PlatformTokens(keys=lambda: keys, issuer=ISSUER, audience=AUDIENCE, leeway_s=5)
    for algorithm in ALGORITHMS:
        token = signed({"tenant": "acme"}, now=NOW, algorithm=algorithm)
        figure = cost_us(lambda token=token: platform.verify(token, now=NOW))  # type: ignore[misc]
        sys.stdout.write(f"{algorithm}  {figure:.0f}\n")
    own = Tokens([b"s" * 32])
    minted = own.mint("x" * 22, {"effect": {"type": "blur"}}, now=NOW, expires_at=NOW + 60)
    sys.stdout.write(f"HS256  {cost_us(lambda: own.verify(minted, now=NOW)):.0f}\n")


if __name__ == "__main__":
    main()
