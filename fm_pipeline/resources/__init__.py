"""Resources: the settings, one FileMaker session a run, and the way to the Nexus database."""
