"""FileMaker over OData v4: every request is a GET with the account; there is no session, and nothing is written.

Source: Claris, OData API Guide. Where the guide is silent, a comment says what published clients report.
"""
