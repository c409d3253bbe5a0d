"""Django's settings, derived from the pipeline's own. https://docs.djangoproject.com/en/5.2/ref/settings/

The console's own tables are in the schema `fm_console`, and it is the only schema of the search path: Django looks for
its table of migrations there, and must not find the one of Nexus.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fm_pipeline.console.address import trusted_networks
from fm_pipeline.console.database import SCHEMA, django_database
from fm_pipeline.console.secret_key import read_secret_key
from fm_pipeline.settings import load_settings

PIPELINE = load_settings()  # for the console's modules, which run in this process only

_url = PIPELINE.console_url
_hosts = [name.strip() for name in PIPELINE.console_allowed_hosts.split(",") if name.strip()]

DEBUG = False
SECRET_KEY = read_secret_key(PIPELINE.state_dir)
ALLOWED_HOSTS = _hosts
ROOT_URLCONF = "fm_pipeline.console.urls"
DATABASES: dict[str, Any] = {"default": django_database(PIPELINE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CONSOLE_SCHEMA = SCHEMA
CONSOLE_TRUSTED_PROXIES = trusted_networks(PIPELINE.console_trusted_proxies)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "django_htmx",
    "ninja",
    "fm_pipeline.console.accounts",
    "fm_pipeline.console",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "fm_pipeline.console.headers.SecurityHeadersMiddleware",
    "fm_pipeline.console.failures.FailureMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "fm_pipeline.console.accounts.middleware.RoleMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,  # the page of the API's description is ninja's
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "fm_pipeline.console.pages.context.shared",
            ],
            "builtins": ["fm_pipeline.console.templatetags.words"],
        },
    }
]

# Accounts. Nexus' table is read and never written.
AUTH_USER_MODEL = "accounts.NexusUser"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "fm_pipeline.console.accounts.backend.NexusBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
    "django.contrib.auth.hashers.BCryptPasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.MD5PasswordHasher",
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/settings/data-management"
LOGOUT_REDIRECT_URL = "/login/"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
AXES_CLIENT_IP_CALLABLE = "fm_pipeline.console.accounts.lockout.counted_address"
AXES_USERNAME_CALLABLE = "fm_pipeline.console.accounts.lockout.counted_name"
AXES_LOCKOUT_CALLABLE = "fm_pipeline.console.accounts.lockout.locked_out"
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # else a guesser who goes on keeps the account locked
AXES_DISABLE_ACCESS_LOG = True  # fm_pipeline.audit has it

# Sessions and cookies. A name of our own, since Nexus may be on the same host.
SESSION_COOKIE_NAME = "fm_console_session"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = bool(_url and _url.startswith("https://"))
CSRF_COOKIE_NAME = "fm_console_csrf"
CSRF_COOKIE_SAMESITE = "Lax"  # a link in an email must find it, or it makes a new one, and open forms are refused
CSRF_FAILURE_VIEW = "fm_pipeline.console.failures.no_csrf_token"
CSRF_TRUSTED_ORIGINS = [_url] if _url else []
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True

USE_TZ = True
TIME_ZONE = PIPELINE.clinic_time_zone
USE_I18N = False
USE_THOUSAND_SEPARATOR = True
STATIC_URL = "/static/"
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = False
LOGGING_CONFIG = None
