"""Who may log in, and as what. Accounts are those of Nexus (`auth_user`); nothing here writes a table of Nexus."""
