"""A synthetic clinic: what FileMaker and Nexus hold before a reimport, and exactly what Nexus must hold after it."""
