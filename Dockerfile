# syntax=docker/dockerfile:1

# The environment: hash-checked locked requirements and the wheel of this source tree.
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/polyvox
COPY requirements.txt requirements-dev.txt ./
RUN /opt/polyvox/bin/python -m pip install --no-deps --require-hashes --only-binary :all: \
    --requirement requirements.txt
# The build backend, at the version that the development lock pins. This stage is discarded.
RUN python -m pip install --no-deps --require-hashes --only-binary :all: --requirement requirements-dev.txt
COPY pyproject.toml README.md LICENSE ./
COPY workflows workflows
COPY protocols protocols
COPY activities activities
COPY worker worker
COPY gateway gateway
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/polyvox/bin/python -m pip install --no-deps --no-index /dist/*.whl

# The program. The image contains no Temporal engine: set a cluster with --engine or
# TEMPORAL_ADDRESS, or the first start downloads the Temporal CLI into the data folder.
FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin polyvox
COPY --from=build /opt/polyvox /opt/polyvox
ENV PATH=/opt/polyvox/bin:/usr/local/bin:/usr/bin:/bin POLYVOX_DATA=/data PYTHONUNBUFFERED=1
USER 10001
# Polyvox reads a polyvox.toml in the data folder without --config.
WORKDIR /data
VOLUME /data
EXPOSE 8484
STOPSIGNAL SIGTERM
ENTRYPOINT ["polyvox"]
CMD ["up", "--host", "0.0.0.0"]
