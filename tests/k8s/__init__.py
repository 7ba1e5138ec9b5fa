"""Of what stands in k8s/: dashboards and alerts, held against Prometheus itself."""
