"""The pages about DICOM imports: the overview, the jobs, and taking a mistaken import back."""
