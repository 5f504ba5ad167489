"""Azure ML: data, jobs and endpoints. YAML for its service, and what prepares, checks and submits it."""
