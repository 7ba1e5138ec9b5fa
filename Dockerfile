# syntax=docker/dockerfile:1
# The service in an image: `scripts/image` builds it, docs/operations.md (Container image) tells how
# to run it. tests/image/ builds and runs it where buildah and debootstrap are at hand.

# A slim Debian with Python 3.11, for which the wheels are locked. Pin it by digest where images are
# published: --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# Empty. A build context of this name puts wheels here for a build without a package index:
# --build-context wheels=FOLDER --build-arg PIP_NO_INDEX=1
FROM scratch AS wheels

# ---------------------------------------------------------------- build
FROM ${PYTHON_IMAGE} AS build
# Nothing is compiled: --only-binary refuses source packages, whose build would run their code here.
# pip is not left behind, nor are the packages' own tests, stubs and headers. Bytecode is compiled
# here, since the root may be read-only, and is not checked against times of the sources, which are
# all set to one.
ARG SOURCE_DATE_EPOCH=0
ARG PIP_NO_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONHASHSEED=0
WORKDIR /app
RUN --mount=type=bind,source=requirements,target=/requirements \
    --mount=type=bind,from=wheels,target=/wheels \
    python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-compile --only-binary :all: --require-hashes \
        --find-links /wheels -r /requirements/runtime.txt \
    && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools \
    && find /opt/venv -depth \( -name tests -o -name __pycache__ -o -name include \) -type d \
        -exec rm -rf {} + \
    && find /opt/venv -type f \( -name '*.pyi' -o -name '*.pxd' -o -name '*.h' \) -delete
COPY LICENSE NOTICE ./
COPY service service
COPY models/LICENSE-mediapipe models/*.onnx models/*.toml models/
COPY backgrounds/*.webp backgrounds/manifest.toml backgrounds/
RUN /opt/venv/bin/python -m compileall -q -f --invalidation-mode unchecked-hash \
        /opt/venv/lib /app/service \
    && chmod -R a=rX,u+w /app /opt/venv \
    && find /app /opt/venv -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

# ---------------------------------------------------------------- the image
FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
# NOTICE tells whose licences; the GPL is x264's, inside PyAV's wheel.
LABEL org.opencontainers.image.title="Backcloth" \
      org.opencontainers.image.description="Replaces what is behind a person in live video" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-or-later" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
# Every address of the container: with no BACKCLOTH_API_KEYS the service then refuses to start.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    BACKCLOTH_HOST=0.0.0.0
WORKDIR /app
# By number: runAsNonRoot can't tell who a name is. Nothing in the image belongs to it.
USER 10001:10001
EXPOSE 8080/tcp 40000-40999/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-m", "service.alive"]
ENTRYPOINT ["python", "-m", "service"]
CMD ["serve"]
