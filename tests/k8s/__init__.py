"""The Kubernetes manifests: rendered, validated, and in step with the service."""
