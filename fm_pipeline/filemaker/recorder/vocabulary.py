"""The words of the Data API, OData and HTTP. A recording repeats these and no others, but for names that are kept."""

from __future__ import annotations

from typing import Final

_JSON = """
    response messages code message data fieldData portalData recordId modId portalDataInfo dataInfo database layout
    table totalRecordCount foundCount returnedCount productInfo name version buildDate dateFormat timeFormat
    timeStampFormat layouts isFolder folderLayoutNames fieldMetaData portalMetaData valueLists type displayType result
    global autoEnter fourDigitYear maxRepeat maxCharacters notEmpty numeric timeOfDay repetitionStart repetitionEnd
    repetitions token value values displayValue ROWID ROWMODID error kind url details target innererror
    portalObjectName valueList scriptResult scriptError
"""
_ANNOTATED = """
    context count nextLink id editLink readLink etag type mediaReadLink mediaEditLink mediaContentType mediaEtag
    navigationLink associationLink metadataEtag
"""
_XML = """
    Edmx DataServices Schema EntityType Key PropertyRef Property NavigationProperty ReferentialConstraint Annotation
    Annotations EntityContainer EntitySet NavigationPropertyBinding Term String Bool Int Collection Record
    PropertyValue Action ActionImport Parameter ReturnType Reference Include IncludeAnnotations ComplexType EnumType
    Member TypeDefinition Singleton Function FunctionImport OnDelete Name Type Namespace Alias Version Nullable
    MaxLength Precision Scale Path Target Partner ReferencedProperty Uri AppliesTo DefaultValue IsBound Unicode
    BaseType Abstract OpenType HasStream ContainsTarget TermNamespace Qualifier IncludeInServiceDocument EntitySetPath
    error code message target details
"""
_PATHS = "fmi data vLatest databases layouts records _find sessions productInfo odata v4 $metadata $count"
_VALUES = """
    normal calculation summary text number date time timeStamp container editText popupList popupMenu checkBox
    radioButtons calendar secureText EntitySet FunctionImport Singleton
"""
_HTTP = """
    accept-ranges age allow cache-control connection content-disposition content-encoding content-language
    content-length content-security-policy date etag expires keep-alive last-modified location odata-maxversion
    preference-applied pragma referrer-policy retry-after server set-cookie strict-transport-security
    transfer-encoding vary via www-authenticate x-content-type-options x-fm-data-access-token x-fms-result
    x-frame-options x-powered-by x-request-id x-xss-protection
"""

KEYS: Final = frozenset(_JSON.split())
"""Keys of JSON objects. Another key is taken for the name of a field."""
ANNOTATIONS: Final = frozenset(_ANNOTATED.split())
"""What follows the @ in a key of OData."""
XML_WORDS: Final = frozenset(_XML.split())
"""Elements and attributes of `$metadata`, and of errors in XML."""
PATH_WORDS: Final = frozenset(_PATHS.split())
"""Parts of paths. Another part is a name, a token or the file."""
VALUE_WORDS: Final = frozenset(_VALUES.split())
"""Values of the description of a field or a table."""
HEADERS: Final = frozenset(_HTTP.split())
"""Headers of which the name is kept. A proxy's own may say whose it is."""
