"""What stands in k8s/: manifests, dashboards and alerts, in step with the service."""
