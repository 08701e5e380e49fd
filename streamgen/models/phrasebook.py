"""Free text to weights over the embedded model's styles: names, artists, media and moods in a few languages.

Pure functions of the text; the same text always reads the same.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from streamgen.settings import MAX_PROMPT_CHARACTERS

__all__ = ["DEFAULT_STYLE", "PHRASES", "Match", "match", "normalise"]

DEFAULT_STYLE = "van gogh"

PHRASES: dict[str, str] = {
    "pencil": """
        pencil, pencils, sketch, sketched, sketchy, drawing, graphite, charcoal, hand drawn, line art, lineart,
        crayon, black and white, monochrome, grayscale, greyscale, dessin, fusain, bleistift, zeichnung, skizze,
        kohle, lapiz, boceto, dibujo, matita, disegno, schizzo, potlood, schets, olowek, szkic, blyant, lapis,
        desenho, карандаш, рисунок, 鉛筆, 铅笔, 素描, 연필""",
    "comic": """
        comic, comics, comic book, cartoon, manga, anime, cel shading, cel shaded, toon, graphic novel, superhero,
        marvel, spider verse, ink lines, flat colors, flat colours, bande dessinee, bd, historieta, tebeo, fumetto,
        fumetti, strip, komiks, quadrinhos, caricatura, trickfilm, zeichentrick, комикс, мультфильм, 漫画,
        コミック, アニメ, 卡通, 만화""",
    "neon": """
        neon, neons, neon lights, cyberpunk, synthwave, vaporwave, tron, glow, glowing, blade runner, night club,
        laser, hologram, holographic, futuristic, sci fi, electric, blacklight, eighties, 80s, leuchtreklame,
        neonlicht, neones, luminoso, néon, неон, киберпанк, ネオン, サイバーパンク, 霓虹, 네온""",
    "watercolor": """
        watercolor, watercolour, watercolors, watercolours, aquarelle, aquarell, acuarela, acquerello, aquarela,
        akwarela, wash, washes, gouache, water color, water colour, turner, cezanne, wasserfarben, waterverf,
        акварель, 水彩, 수채화""",
    "poster": """
        poster, posters, pop art, popart, warhol, andy warhol, screen print, screenprint, silkscreen,
        shepard fairey, obama hope, hope poster, propaganda, stencil, banksy, street art, graffiti, risograph,
        lichtenstein, retro poster, affiche, plakat, siebdruck, cartel, serigrafia, manifesto, плакат, поп арт,
        ポスター, 海报, 波普, 포스터""",
    "van gogh": """
        van gogh, vangogh, gogh, vincent, starry night, oil painting, oil paint, impasto, swirls, swirling, swirly,
        brush strokes, brushstrokes, sunflowers, post impressionism, post impressionist, nuit etoilee,
        sternennacht, olgemalde, noche estrellada, oleo, notte stellata, olio, peinture a l huile, ван гог,
        звездная ночь, ゴッホ, 梵高, 星空, 고흐""",  # noqa: RUF001
    "great wave": """
        great wave, wave, waves, the wave, hokusai, ukiyo e, ukiyoe, woodblock, japanese woodblock, japanese print,
        hiroshige, kanagawa, edo, sea, ocean, grande vague, vague, grosse welle, welle, gran ola, ola, grande onda,
        onda, japanisch, 富士, fuji, japonais, japones, japanese, wielka fala, хокусай, волна, 北斎, 浮世絵,
        浮世绘, 파도""",
    "etching": """
        etching, etched, engraving, engraved, woodcut, wood cut, durer, duerer, albrecht durer, rembrandt, sepia,
        old map, antique print, copperplate, banknote, parchment, pen and ink, ink drawing, gravure, eau forte,
        kupferstich, holzschnitt, radierung, grabado, incisione, acquaforte, gravura, ets, rycina, гравюра,
        エッチング, 版画, 에칭""",
    "pastel": """
        pastel, pastels, soft, dreamy, monet, claude monet, renoir, degas, cassatt, impressionism, impressionist,
        impressionistic, chalk, lavender, fairytale, fairy tale, water lilies, gentle, kreide, impressionismus,
        impressionisme, impresionismo, impressionismo, pastell, пастель, моне, импрессионизм, パステル, 粉彩, 莫奈,
        파스텔""",
    "expressionist": """
        expressionist, expressionism, kirchner, ernst ludwig kirchner, munch, edvard munch, the scream, scream,
        fauvism, fauvist, matisse, derain, picasso, cubism, cubist, die brucke, german expressionism, basquiat,
        wild, bold colors, bold colours, expressionismus, expressionnisme, expresionismo, espressionismo, cubisme,
        kubismus, cubismo, экспрессионизм, 表現主義, 表现主义, 표현주의""",
    "stained glass": """
        stained glass, mosaic, mosaics, tiles, tile, tessellation, cathedral window, church window, leaded glass, glass,
        tiffany, gaudi, facets, faceted, crystal, kaleidoscope, low poly, lowpoly, polygons, voronoi, shards, geometric,
        geometry, abstract, abstract art, kandinsky, wassily kandinsky, klee, paul klee, bauhaus, mondrian, delaunay,
        vitrail, vitraux, mosaique, glasmalerei, kirchenfenster, mosaik, abstrakt, vidriera, vitral, mosaico, vetrata,
        abstrait, abstracto, astratto, glas in lood, witraz, витраж, мозаика, ステンドグラス, モザイク, 彩色玻璃,
        马赛克, 抽象, 스테인드글라스, 모자이크""",
}
"""Style name to the comma-separated phrases that mean it."""

_AMOUNTS = {
    "half": 1.0, "quarter": 0.5, "third": 0.67, "mostly": 2.0, "mainly": 2.0, "very": 1.3, "bit": 0.4, "little": 0.4,
    "touch": 0.3, "hint": 0.25, "some": 0.5, "slightly": 0.4, "slight": 0.4, "strong": 1.4, "heavy": 1.4,
}  # fmt: skip
_NEGATIONS = frozenset({"no", "not", "without", "minus", "kein", "ohne", "sans", "sin", "senza"})
_FILLER_WORDS = """
    a an the in of on by with and or to at as for from me my i is it like make made turn into look looks looking style
    styled stylised stylized art artwork painting paint painted picture image photo portrait face video frame colour
    color please mixed mix blend between plus also very more less per percent masterpiece quality best high detailed
    beautiful un une le la les de du des et en el los las y e o der die das ein eine im stil und von mit wie style il lo
    estilo stile dans au aux del da do em na
"""
_FILLERS = frozenset(_FILLER_WORDS.split())
_TOKEN = re.compile(r"\d*\.?\d+%?(?![^\W_])|[^\W_]+|[():,]")
_NUMBER = re.compile(r"\d*\.?\d+%?")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_MAX_WEIGHT = 10.0
_MAX_WORDS = 200
_CLOSE_ENOUGH = 0.6
_COMPOUND = 0.8
_SHORTEST_FUZZY = 5


@dataclass(frozen=True, slots=True)
class Match:
    """How a text was read.

    Args:
        weights: styles and their shares, which sum to 1; never empty.
        understood: the share of the text's telling words that the phrasebook knows, 0 to 1. A misspelt word counts in
            part. 0 means that the styles are only the nearest in spelling.
    """

    weights: dict[str, float]
    understood: float


@lru_cache(maxsize=512)
def match(text: str) -> Match:
    """Read a prompt of any length and language.

    Knows `pencil`, `a portrait in the style of Van Gogh`, `half comic, half neon`, `pencil:0.7 comic:0.3`,
    `(pencil:1.2) comic`, `70% poster`, `great wave with a touch of neon`, `comic, no pencil`. Accents and case do not
    matter. An empty text is the default style; a text of unknown words is the nearest style in spelling.
    """
    reader = _Reader()
    for token in _tokens(text):
        reader.feed(token)
    reader.close()
    if reader.weights:
        return Match(_shares(reader.weights), reader.known / reader.telling)
    if reader.unknown:
        return _nearest(reader.unknown)
    return Match({DEFAULT_STYLE: 1.0}, 1.0)


def normalise(text: str) -> str:
    """Lower case without accents; a hyphen, an underscore and an apostrophe become spaces."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    # Only Latin marks are dropped: in Japanese a voiced sound is a mark too.
    plain = "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f")
    return unicodedata.normalize("NFC", re.sub(r"[-_'\u2019]", " ", plain))


class _Reader:
    """Takes tokens one by one and gathers style weights.

    An amount ("half", "70%") waits for the style that follows; "(", ")" and ":" give the styles just read a weight.
    """

    def __init__(self) -> None:
        self.weights: dict[str, float] = {}
        self.known = 0.0
        self.telling = 0
        self.unknown: list[str] = []
        self._amount = 1.0
        self._negated = False
        self._after_colon = False
        self._group: list[tuple[str, float]] = []
        self._depth = 0

    def feed(self, token: str) -> None:
        """Take the next token: a known phrase, a word, a number, or one of ( ) : ,"""
        if _NUMBER.fullmatch(token):
            self._number(token)
        elif token in _STYLE_OF:
            self._style(_STYLE_OF[token], 1.0)
        elif token == ":":
            self._after_colon = True
        elif token == "(":
            self._settle()
            self._depth += 1
        elif token in "),":
            self._depth = max(0, self._depth - (token == ")"))
            self._settle()
        else:
            self._word(token)

    def close(self) -> None:
        """Book what is still open; call once after the last token."""
        self._settle()

    def _number(self, token: str) -> None:
        value = min(float(token.rstrip("%")) / (100 if token.endswith("%") else 1), _MAX_WEIGHT)
        if self._after_colon:
            self._group = [(style, min(weight * value, _MAX_WEIGHT)) for style, weight in self._group]
            self._after_colon = False
            if not self._depth:
                self._settle()
        elif token.endswith("%"):
            self._amount = value

    def _style(self, style: str, sureness: float) -> None:
        if not self._depth:
            self._settle(keep=True)
        self.known += sureness
        self.telling += 1
        self._group.append((style, 0.0 if self._negated else self._amount * sureness))
        self._amount, self._negated = 1.0, False

    def _word(self, word: str) -> None:
        if word in _AMOUNTS:
            self._amount *= _AMOUNTS[word]
        elif word in _NEGATIONS:
            self._negated = True
        elif word not in _FILLERS:
            style, likeness = _closest(word)
            if likeness >= _CLOSE_ENOUGH and len(word) >= _SHORTEST_FUZZY:
                self._style(style, likeness)
            else:
                self.unknown.append(word)
                self.telling += 1

    def _settle(self, keep: bool = False) -> None:
        for style, weight in self._group:
            if weight > 0:
                self.weights[style] = self.weights.get(style, 0.0) + weight
        self._group, self._after_colon = [], False
        if not keep:
            self._amount, self._negated = 1.0, False


def _tokens(text: str) -> list[str]:
    """Words, numbers and ( ) : , of a text, with the words of a known phrase joined."""
    # Decomposing can make eighteen letters of one.
    plain = normalise(text)[:MAX_PROMPT_CHARACTERS]
    for phrase in _UNSPACED_PHRASES:
        plain = plain.replace(phrase, f" {phrase} ")
    words = _TOKEN.findall(plain)[:_MAX_WORDS]
    tokens: list[str] = []
    while words:
        length = next((n for n in range(min(_LONGEST, len(words)), 1, -1) if " ".join(words[:n]) in _STYLE_OF), 1)
        tokens.append(" ".join(words[:length]))
        words = words[length:]
    return tokens


def _nearest(words: Sequence[str]) -> Match:
    """The one or two styles whose phrases are spelt most alike; chance, fixed by the text, where nothing is alike."""
    found = sorted((_closest(word) for word in words), key=lambda pair: -pair[1])
    weights: dict[str, float] = {}
    for style, likeness in found[:2]:
        weights[style] = weights.get(style, 0.0) + likeness
    if sum(weights.values()) > 0:
        return Match(_shares(weights), 0.0)
    styles = list(PHRASES)
    return Match({styles[zlib.crc32(" ".join(words).encode()) % len(styles)]: 1.0}, 0.0)


@lru_cache(maxsize=4096)
def _closest(word: str) -> tuple[str, float]:
    """The style with the phrase most like the word, and the likeness 0 to 1.

    Dice over letter pairs; a compound that begins with a phrase, as in "Bleistiftzeichnung", is rather alike.
    """
    pairs = _pairs(word)
    best, best_style = 0.0, DEFAULT_STYLE
    for phrase, other in _PAIRS.items():
        likeness = 2 * len(pairs & other) / (len(pairs) + len(other))
        if len(phrase) >= _SHORTEST_FUZZY and word.startswith(phrase):
            likeness = max(likeness, _COMPOUND)
        if likeness > best:
            best, best_style = likeness, _STYLE_OF[phrase]
    return best_style, best


def _pairs(word: str) -> frozenset[str]:
    padded = f" {word} "
    return frozenset(padded[i : i + 2] for i in range(len(padded) - 1))


def _shares(weights: dict[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {style: weight / total for style, weight in weights.items() if weight > 0}


def _index(phrases: dict[str, str]) -> Iterable[tuple[str, str]]:
    for style, listed in phrases.items():
        for phrase in listed.split(","):
            yield " ".join(normalise(phrase).split()), style


_STYLE_OF = dict(_index(PHRASES))
_LONGEST = max(len(phrase.split()) for phrase in _STYLE_OF)
_PAIRS = {phrase: _pairs(phrase) for phrase in _STYLE_OF}
# Longest first, so that a phrase is not cut by a shorter one inside it.
_UNSPACED_PHRASES = sorted(filter(_UNSPACED.search, _STYLE_OF), key=len, reverse=True)
