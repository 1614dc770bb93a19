# Serves a run's model over HTTP, on the CPU:
#     docker build -t cotune .
#     docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/runs/NAME:/model:ro" -e COTUNE_TOKEN=... cotune
# Without COTUNE_TOKEN a random token is printed. Further options follow: cotune /model --max-rows 100
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1
WORKDIR /src
COPY requirements-dev.lock ./
# PyPI's build of PyTorch for Linux brings gigabytes of CUDA.
RUN pip install --extra-index-url https://download.pytorch.org/whl/cpu -c requirements-dev.lock torch
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install -c requirements-dev.lock .

RUN useradd --create-home --uid 10001 cotune
USER cotune
WORKDIR /home/cotune
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["cotune", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["/model"]
