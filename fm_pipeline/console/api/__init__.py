"""The ten calls of the hospital's DICOM system under /api/sync/, with and without `.php`.

`calls.py` has one function a call, `requests.py` and `answers.py` say what goes in and out, `authentication.py` who may
call, `errors.py` how errors are answered. The work is done by `fm_pipeline.dicom.api`.
"""
