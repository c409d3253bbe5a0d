#!/bin/sh
# django-graph-walker gives a child another mother: the copy in the other database refers to the number that its mother had here.
#
# The package (0.2.0) finds the rows of Django that belong together, and copies them to another database "with automatic PK and FK
# remapping". It copies a table's rows in the order in which it came upon them. If a row refers to one of its own table that comes
# later, as a child to its mother, the new number is not known yet; it then writes the old one, and that is another patient there.
# A clone within one database refers to the first mother for the same reason, where the README has "remapping all FKs to point to the
# clones". What is NULL here gets the model's default in both: who was not asked whether they smoke does not smoke. A name that the
# specification has to anonymize, Anonymize(...), is exported as it is, to a database and to a file: the class Export takes only
# anonymizers of its own. There is no error and no warning.
#
# Needs python3 and its venv. Exit code 0: as described; 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export PIP_NO_CACHE_DIR=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check django-graph-walker==0.2.0 Django==5.2.19 2>"$folder/log"
cd "$folder"
mkdir clinic
: >clinic/__init__.py
cat >clinic/models.py <<'END'
from django.db import models

class Patient(models.Model):
    name = models.TextField()
    mother = models.ForeignKey("self", models.SET_NULL, null=True, related_name="children")
    smoker = models.BooleanField(null=True, default=False)

class Visit(models.Model):
    patient = models.ForeignKey(Patient, models.CASCADE)
    pain = models.IntegerField(null=True, default=0)
END

venv/bin/python - <<'END'
import json, logging, os, sys, warnings
from importlib.metadata import version
sys.path.insert(0, os.getcwd())
warnings.simplefilter("error")
import django
from django.conf import settings

databases = {name: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{os.getcwd()}/{name}"} for name in ("default", "research")}
settings.configure(DATABASES=databases, INSTALLED_APPS=["django.contrib.contenttypes", "clinic"], USE_TZ=True,
                   DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
django.setup()

from django.core.management import call_command
from clinic.models import Patient, Visit
from django_graph_walker import Anonymize, GraphSpec, GraphWalker
from django_graph_walker.actions.clone import Clone
from django_graph_walker.actions.export import Export

for name in databases:
    call_command("migrate", verbosity=0, run_syncdb=True, database=name)
heard = []
handler = logging.Handler(logging.WARNING)
handler.emit = heard.append
logging.getLogger().addHandler(handler)

def shown(title, database="default"):
    patients = list(Patient.objects.using(database).order_by("id").values_list("id", "name", "mother__name", "smoker"))
    visits = list(Visit.objects.using(database).order_by("id").values_list("patient__name", "pain"))
    print(title, *patients, *visits, sep="\n  ")
    return patients, visits

print("django-graph-walker", version("django-graph-walker"), "with Django", django.__version__)
Patient.objects.using("research").create(name="Young, John")
Patient.objects.using("research").create(name="Young, Susan")
shown("the other database before: number, name, mother, smokes", "research")
# The child came to the clinic first, its mother later.
child = Patient.objects.create(name="Adams, Ben", smoker=None)
mother = Patient.objects.create(name="Adams, Mary", smoker=True)
child.mother = mother
child.save()
Visit.objects.create(patient=child, pain=None)
shown("here: number, name, mother, smokes; visits' patients and pain")

spec = GraphSpec({Patient: {"name": Anonymize(lambda patient, context: "anonymous")}, Visit: {}})
found = GraphWalker(spec).walk(Patient.objects.get(name="Adams, Ben"))
Export().to_database(found, target_db="research")
patients, visits = shown("the other database after", "research")
names = [row["fields"].get("name") for row in json.loads(Export().to_fixture(found)) if row["model"] == "clinic.patient"]
print("names in the file:", names)

spec = GraphSpec(Patient, Visit)
clones = Clone(spec).execute(GraphWalker(spec).walk(Patient.objects.get(name="Adams, Ben")))
cloned = [clones.get_clone(patient) for patient in (child, mother)]
print("cloned child", cloned[0].id, "- its mother", cloned[0].mother_id, "- the cloned mother", cloned[1].id)
print("warnings:", len(heard))
sys.exit(not (
    ("Adams, Ben", "Young, Susan", False) in [row[1:] for row in patients] and ("Adams, Mary", None, True) in [row[1:] for row in patients]
    and visits == [("Adams, Ben", 0)] and sorted(names) == ["Adams, Ben", "Adams, Mary"]
    and cloned[0].mother_id == mother.id != cloned[1].id and cloned[0].smoker is False and not heard
))
END
