"""What a HorizontalPodAutoscaler of one Pods metric makes of it: pure, time passed in.

As kube-controller-manager works it out: pods * mean / target, rounded up, where the mean is over
the pods whose metric is there; a pod that is still starting counts as empty where the answer is up,
and as just right where it is down; nothing within the tolerance; then the stabilisation window and
the policies of k8s/components/hpa/horizontalpodautoscaler.yaml.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """The manifest's figures, and the delays around them."""

    target: float
    """Of the mean of backcloth_capacity_ratio, 0 to 1."""
    least_pods: int = 2
    most_pods: int = 100_000
    sync_s: float = 15.0
    tolerance: float = 0.1
    metric_lag_s: float = 30.0
    """From a session to the metric that tells of it: scrape, query, the adapter's own period."""
    pod_start_s: float = 60.0
    """From the decision to a pod that is asked: schedule, image, start, ready, endpoints."""
    up_share: float = 1.0
    up_pods: int = 2
    up_period_s: float = 30.0
    down_window_s: float = 900.0
    down_pods: int = 1
    down_period_s: float = 120.0


class Autoscaler:
    """Remembers what it recommended and did."""

    def __init__(self, scaling: Scaling) -> None:
        self._scaling = scaling
        self._wanted: deque[tuple[float, int]] = deque()
        self._changed: deque[tuple[float, int]] = deque()

    def pods(self, now_s: float, *, pods: int, seen: int, ratio_sum: float) -> int:
        """How many pods there shall be, of `pods` that there are. `seen` of them have told how full
        they are, `ratio_sum` together."""
        rule = self._scaling
        wanted = self._wanted_by(pods=pods, seen=seen, ratio_sum=ratio_sum)
        self._wanted.append((now_s, wanted))
        while self._wanted[0][0] < now_s - rule.down_window_s:
            self._wanted.popleft()
        if wanted < pods:
            wanted = min(pods, max(one for _, one in self._wanted))
        wanted = max(rule.least_pods, min(rule.most_pods, self._allowed(now_s, pods, wanted)))
        if wanted != pods:
            self._changed.append((now_s, wanted - pods))
        return wanted

    def _wanted_by(self, *, pods: int, seen: int, ratio_sum: float) -> int:
        rule = self._scaling
        if not seen:
            return pods
        usage = ratio_sum / seen / rule.target
        if abs(usage - 1) <= rule.tolerance:
            return pods
        starting = max(0, pods - seen)
        if usage > 1:
            usage = ratio_sum / (seen + starting) / rule.target
            if usage <= 1 + rule.tolerance:
                return pods
        else:
            usage = (ratio_sum + starting * rule.target) / (seen + starting) / rule.target
        # The margin keeps 0.7 / 0.7 from being rounded up.
        return math.ceil(usage * (seen + starting) - 1e-9)

    def _allowed(self, now_s: float, pods: int, wanted: int) -> int:
        rule = self._scaling
        horizon_s = now_s - max(rule.up_period_s, rule.down_period_s)
        while self._changed and self._changed[0][0] <= horizon_s:
            self._changed.popleft()
        added = sum(n for at, n in self._changed if n > 0 and at > now_s - rule.up_period_s)
        taken = sum(-n for at, n in self._changed if n < 0 and at > now_s - rule.down_period_s)
        before = pods - added
        most = max(math.ceil(before * (1 + rule.up_share)), before + rule.up_pods)
        least = pods + taken - rule.down_pods
        return min(wanted, max(pods, most)) if wanted > pods else max(wanted, min(pods, least))
