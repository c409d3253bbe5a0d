"""Archives, read as folders: their members are found, inspected and imported one by one."""
