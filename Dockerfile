# The energy ledger and everything it needs, in one image without root, compiler or secrets. It runs any one
# process of an installation (docker-compose.yml), or all of it with the servers inside:
#
#     docker run --volume ledger:/data IMAGE up

# To be sure of every byte, give the image by its digest: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /source
RUN python -m venv /opt/energy-ledger
ENV PATH=/opt/energy-ledger/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock ./
RUN python -m pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY ledger ledger
COPY ingest ingest
COPY settlement settlement
COPY contracts contracts
COPY api api
RUN python -m pip install --no-index --no-deps --no-build-isolation .

FROM ${PYTHON_IMAGE}
# A name for the id, because Postgres does not start for a user without one.
RUN useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin energy-ledger \
    && install --directory --owner 10001 --group 10001 --mode 0700 /data \
    && install --directory --owner 10001 --group 10001 --mode 0755 /users
COPY --from=build /opt/energy-ledger /opt/energy-ledger
ENV PATH=/opt/energy-ledger/bin:$PATH PYTHONUNBUFFERED=1 ENERGY_LEDGER_DATA=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["energy-ledger", "doctor"]
ENTRYPOINT ["energy-ledger"]
CMD ["--help"]
