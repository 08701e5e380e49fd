# docker build -t streamgen .                          CPU
# docker build -t streamgen --build-arg DEVICE=cuda .  NVIDIA, with what SD-Turbo and its kin need; running it takes the
#                                                      NVIDIA container toolkit
#
# The server binds the loopback address, so share the host's network: docker run --rm --network host --shm-size 1g streamgen
# docs/deploy.md says why, and what else to know.
FROM python:3.11-slim-bookworm

ARG DEVICE=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

WORKDIR /src
COPY constraints.txt ./
RUN torch="$(grep '^torch==' constraints.txt)" \
 && if [ "$DEVICE" = cpu ]; then pip install --no-deps --index-url "$TORCH_INDEX" "$torch"; fi \
 && pip install --constraint constraints.txt "$torch"
COPY . .
RUN if [ "$DEVICE" = cuda ]; then extras=server,diffusers; else extras=server; fi \
 && pip install --constraint constraints.txt ".[$extras]" && rm -rf /src/* \
 && useradd --create-home --uid 10001 streamgen

USER streamgen
WORKDIR /home/streamgen
EXPOSE 8188
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8188/healthz', timeout=2).read()"]
ENTRYPOINT ["streamgen"]
CMD ["serve", "--port", "8188"]
