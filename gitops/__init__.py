"""What GitOps tools need to know of Perennial's kinds: health and actions for Argo CD, health checks for Flux."""
