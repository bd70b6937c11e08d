"""For those who walk a site: every page's whole address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import escape

__all__ = ["sitemap_files"]

_MOST = 50_000
"""Addresses that one file may have, by the protocol of sitemaps."""
_NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def sitemap_files(pages: Sequence[str], base_url: str) -> Iterator[tuple[str, bytes]]:
    """``sitemap.xml``, which names others where there are too many pages for one, and ``robots.txt``."""
    parts = [pages[at : at + _MOST] for at in range(0, len(pages), _MOST)]
    if len(parts) == 1:
        yield "sitemap.xml", _listed("urlset", "url", parts[0], base_url)
    else:
        names = [f"sitemap-{number}.xml" for number in range(1, len(parts) + 1)]
        yield "sitemap.xml", _listed("sitemapindex", "sitemap", names, base_url)
        for name, part in zip(names, parts, strict=True):
            yield name, _listed("urlset", "url", part, base_url)
    yield "robots.txt", f"User-agent: *\nAllow: /\nSitemap: {base_url}/sitemap.xml\n".encode()


def _listed(whole: str, one: str, paths: Sequence[str], base_url: str) -> bytes:
    lines = "".join(f"<{one}><loc>{escape(f'{base_url}/{path}')}</loc></{one}>\n" for path in paths)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{whole} {_NAMESPACE}>\n{lines}</{whole}>\n'.encode()
