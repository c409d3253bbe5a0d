"""The OData API of the stand-in: the same files as the Data API shows, by the protocol OData 4.01."""
