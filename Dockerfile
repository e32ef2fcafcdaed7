# The driver's image. Nothing in it is resolved while it is built: the lock files name every wheel by its hash, for amd64
# and for arm64 (`make lock` checks both), so no compiler is needed either.
#
#   docker build --tag model-csi-driver:0.1.0 .
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg REVISION=$(git rev-parse HEAD) --tag … --push .
#
# The base is an argument so that the image can be built where only another base is at hand; it needs Python 3.11 or
# newer with venv, and CA certificates. It is named by its tag, as a digest written here would keep the base's security
# updates out of every later build: a release pins what it was built on by giving BASE=python:3.13-slim-bookworm@sha256:….
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
# The tools stay in their own environment; the driver's has not even pip.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/model-csi
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN /opt/build/bin/pip install --quiet --require-hashes --no-deps --only-binary :all: -r requirements-build.lock \
 && /opt/build/bin/pip --python /opt/model-csi/bin/python install --quiet --require-hashes --no-deps --only-binary :all: \
        -r requirements.lock
# Half of what was installed is never imported: the other client of Kubernetes, the classes of its whole API, and zstd for
# other Pythons.
RUN cd /opt/model-csi/lib/python3*/site-packages && rm -r kubernetes/aio kubernetes/client/api zstandard/_cffi.*.so
COPY pyproject.toml README.md LICENSE ./
COPY csi_driver csi_driver
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/build/bin/pip --python /opt/model-csi/bin/python install --quiet --no-deps /wheels/*.whl

FROM ${BASE}
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="model-csi-driver" \
      org.opencontainers.image.description="Puts CNCF ModelPack models from an OCI registry into pods, read-only and verified" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
# Modules are compiled already, and the root file system may be read-only.
ENV PATH=/opt/model-csi/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/model-csi /opt/model-csi
# The driver mounts, so it is root; push, pull and inspect do without: docker run --user 1000 … push DIR REFERENCE
ENTRYPOINT ["model-csi"]
CMD ["--help"]
