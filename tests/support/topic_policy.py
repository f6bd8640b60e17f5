"""A policy for new topics as managed Kafka services have one: a broker's class, compiled, since tests need no compiler.

Its source, for `javac -g:none --release 17` with Kafka's jars:

    import java.util.Map;
    import org.apache.kafka.common.errors.PolicyViolationException;
    import org.apache.kafka.server.policy.CreateTopicPolicy;

    public class SmallRecords implements CreateTopicPolicy {
        public void configure(Map<String, ?> configs) {}

        public void close() {}

        public void validate(RequestMetadata topic) {
            String limit = topic.configs().get("max.message.bytes");
            if (limit != null && Integer.parseInt(limit) > 8388608) {
                throw new PolicyViolationException("max.message.bytes may be 8388608 at most");
            }
        }
    }
"""

import base64
import zipfile
from pathlib import Path

POLICY = "SmallRecords"
MOST_BYTES = 8 << 20
_CLASS = """
yv66vgAAAD0ANAoAAgADBwAEDAAFAAYBABBqYXZhL2xhbmcvT2JqZWN0AQAGPGluaXQ+AQADKClWCgAIAAkHAAoMAAsADAEAQG9yZy9hcGFjaGUv
a2Fma2Evc2VydmVyL3BvbGljeS9DcmVhdGVUb3BpY1BvbGljeSRSZXF1ZXN0TWV0YWRhdGEBAAdjb25maWdzAQARKClMamF2YS91dGlsL01hcDsI
AA4BABFtYXgubWVzc2FnZS5ieXRlcwsAEAARBwASDAATABQBAA1qYXZhL3V0aWwvTWFwAQADZ2V0AQAmKExqYXZhL2xhbmcvT2JqZWN0OylMamF2
YS9sYW5nL09iamVjdDsHABYBABBqYXZhL2xhbmcvU3RyaW5nCgAYABkHABoMABsAHAEAEWphdmEvbGFuZy9JbnRlZ2VyAQAIcGFyc2VJbnQBABUo
TGphdmEvbGFuZy9TdHJpbmc7KUkDAIAAAAcAHwEAN29yZy9hcGFjaGUva2Fma2EvY29tbW9uL2Vycm9ycy9Qb2xpY3lWaW9sYXRpb25FeGNlcHRp
b24IACEBAChtYXgubWVzc2FnZS5ieXRlcyBtYXkgYmUgODM4ODYwOCBhdCBtb3N0CgAeACMMAAUAJAEAFShMamF2YS9sYW5nL1N0cmluZzspVgcA
JgEADFNtYWxsUmVjb3JkcwcAKAEAMG9yZy9hcGFjaGUva2Fma2Evc2VydmVyL3BvbGljeS9DcmVhdGVUb3BpY1BvbGljeQEABENvZGUBAAljb25m
aWd1cmUBABIoTGphdmEvdXRpbC9NYXA7KVYBAAlTaWduYXR1cmUBACcoTGphdmEvdXRpbC9NYXA8TGphdmEvbGFuZy9TdHJpbmc7Kj47KVYBAAVj
bG9zZQEACHZhbGlkYXRlAQBFKExvcmcvYXBhY2hlL2thZmthL3NlcnZlci9wb2xpY3kvQ3JlYXRlVG9waWNQb2xpY3kkUmVxdWVzdE1ldGFkYXRh
OylWAQANU3RhY2tNYXBUYWJsZQEADElubmVyQ2xhc3NlcwEAD1JlcXVlc3RNZXRhZGF0YQAhACUAAgABACcAAAAEAAEABQAGAAEAKQAAABEAAQAB
AAAABSq3AAGxAAAAAAABACoAKwACACkAAAANAAAAAgAAAAGxAAAAAAAsAAAAAgAtAAEALgAGAAEAKQAAAA0AAAABAAAAAbEAAAAAAAEALwAwAAEA
KQAAAEEAAwADAAAAJyu2AAcSDbkADwIAwAAVTSzGABYsuAAXEh2kAA27AB5ZEiC3ACK/sQAAAAEAMQAAAAgAAfwAJgcAFQABADIAAAAKAAEACAAn
ADMACQ==
"""


def write_policy(jar: Path) -> None:
    """Write a jar with the policy's class."""
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr(f"{POLICY}.class", base64.b64decode(_CLASS))
