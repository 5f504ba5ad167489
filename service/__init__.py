"""The microservice: classifiers behind one HTTP API."""
