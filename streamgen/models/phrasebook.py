"""The names that the embedded model's styles go by: media, artists and famous works, in a dozen languages.

A text that is made of these alone is read exactly; the prompt encoder reads all others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

__all__ = ["DEFAULT_STYLE", "PHRASES", "PhraseIndex", "key", "known_phrases", "normalise", "unspaced"]

DEFAULT_STYLE = "van gogh"

PHRASES: dict[str, str] = {
    "pencil": """
        pencil, pencils, pencil drawing, pencil sketch, sketch, sketched, sketchy, drawing, graphite, hand drawn,
        line art, lineart, line drawing, doodle, scribble, crayon gris, dessin, croquis, bleistift,
        bleistiftzeichnung, zeichnung, skizze, lapiz, boceto, dibujo, matita, disegno, schizzo, potlood,
        potloodtekening, schets, olowek, szkic, blyant, lapis, desenho, карандаш, карандашом, рисунок, 鉛筆, 铅笔,
        素描, 연필""",
    "charcoal": """
        charcoal, charcoals, charcoal drawing, charcoal sketch, vine charcoal, compressed charcoal, fusain, kohle,
        kohlezeichnung, zeichenkohle, carboncillo, carboncino, carvao, houtskool, wegiel, kathe kollwitz, kollwitz,
        уголь, углем, 木炭, 木炭画, 炭笔, 炭画, 목탄""",
    "ink": """
        ink, inks, inked, ink drawing, ink wash, ink painting, india ink, indian ink, chinese ink, brush and ink,
        pen and ink, sumi e, sumie, sumi, suiboku, calligraphy, brush pen, fountain pen, zen painting, inktober,
        tusche, tuschezeichnung, tinte, encre, encre de chine, tinta, tinta china, inchiostro, china, tusz, inkt,
        тушь, тушью, чернила, 水墨, 水墨画, 墨, 墨絵, 书法, 書道, 먹, 수묵화""",
    "engraving": """
        engraving, engravings, engraved, copperplate, copper engraving, steel engraving, wood engraving, woodcut,
        wood cut, burin, durer, duerer, albrecht durer, gustave dore, dore, schongauer, melencolia, kupferstich,
        stahlstich, holzstich, holzschnitt, gravure, burin, grabado, incisione, bulino, gravura, gravure sur bois,
        rycina, miedzioryt, гравюра, 銅版画, 铜版画, 雕版, 판화""",
    "comic": """
        comic, comics, comic book, comic strip, cartoon, cartoons, manga, anime, cel shading, cel shaded, toon,
        graphic novel, superhero, marvel, dc comics, spider verse, into the spider verse, tintin, asterix,
        bande dessinee, bd, historieta, tebeo, fumetto, fumetti, strip, stripverhaal, komiks, quadrinhos,
        caricatura, trickfilm, zeichentrick, comicheft, dessin anime, dibujos animados, cartone animato, комикс,
        мультфильм, аниме, 漫画, コミック, アニメ, マンガ, 动漫, 卡通, 만화""",
    "neon": """
        neon, neons, neon lights, neon sign, neon glow, cyberpunk, synthwave, vaporwave, outrun, tron, blade runner,
        hologram, holographic, sci fi, blacklight, 80s, leuchtreklame, neonlicht, neonreklame, neones,
        luces de neon, luminoso, lumiere neon, neonowy, неон, неоновый, киберпанк, ネオン, サイバーパンク, 霓虹,
        赛博朋克, 네온""",
    "watercolor": """
        watercolor, watercolour, watercolors, watercolours, watercolor painting, water color, water colour,
        aquarelle, aquarell, acuarela, acquerello, aquarela, akwarela, wash, washes, gouache, turner, wasserfarben,
        wasserfarbe, waterverf, wet on wet, beatrix potter, акварель, 水彩, 水彩画, 수채화""",
    "poster": """
        poster, posters, pop art, popart, warhol, andy warhol, screen print, screenprint, silkscreen, serigraph,
        shepard fairey, obama hope, hope poster, propaganda, propaganda poster, stencil, banksy, street art,
        graffiti, travel poster, vintage poster, art deco, toulouse lautrec, mucha, affiche, plakat, siebdruck,
        cartel, serigrafia, serigraphie, manifesto, manifesto pubblicitario, плакат, поп арт, ポスター, 海报, 波普,
        포스터""",
    "oil": """
        oil, oils, oil painting, oil paint, oil on canvas, old master, old masters, rembrandt painting, caravaggio,
        vermeer, velazquez, leonardo, da vinci, mona lisa, raphael, titian, baroque, renaissance, academic painting,
        dutch golden age, bob ross, palette knife, peinture a l huile, huile, huile sur toile, olgemalde,
        ol auf leinwand, olmalerei, oleo, oleo sobre lienzo, olio, olio su tela, pintura a oleo, olieverf, olej,
        масло, масляная живопись, 油絵, 油画, 油彩, 유화""",
    "halftone": """
        halftone, half tone, halftones, halftone dots, ben day dots, benday dots, benday, newspaper print,
        dot matrix, cmyk dots, lichtenstein, roy lichtenstein, rasterpunkte, halbton, rasterdruck, trame,
        semi teinte, semitono, medios tonos, retino, meio tom, halftoon, rasterbild, полутон, ハーフトーン, 網点,
        半调, 网点, 하프톤""",
    "risograph": """
        risograph, risography, riso, riso print, risograph print, two colour print, two color print, duotone,
        spot colour, spot color, overprint, misregistered print, zine, fanzine, risographie, risografie, risodruck,
        risografia, ризограф, リソグラフ, リソ, 孔版印刷, 리소그래프""",
    "pixel art": """
        pixel art, pixelart, pixel, pixels, pixelated, pixelated art, 8 bit, 8bit, 16 bit, 16bit, sprite, sprites,
        nes, super nintendo, snes, game boy, gameboy, minecraft, mario, voxel, pixelkunst, pixelgrafik, art pixel,
        arte pixel, pixel kunst, pikselowa grafika, пиксель арт, пиксели, ドット絵, 像素, 像素画, 픽셀 아트, 픽셀""",
    "low poly": """
        low poly, lowpoly, polygons, polygon, polygonal, polygon art, triangulated, triangulation,
        delaunay triangulation, faceted, flat shading, flat shaded, voronoi, ps1, playstation 1, papercraft,
        origami, poligonos, polygones, polygone, poligoni, wenige polygone, dreiecke, triangulos, лоу поли,
        полигоны, ローポリ, ポリゴン, 低多边形, 多边形, 折り紙, 로우폴리""",
    "mosaic": """
        mosaic, mosaics, tiles, tile, tiled, tessellation, tesserae, roman mosaic, byzantine mosaic, byzantine,
        ravenna, gaudi, trencadis, azulejos, pebble mosaic, mosaique, mosaiques, mosaik, mosaico, mosaici, mozaiek,
        mozaika, мозаика, モザイク, モザイク画, 马赛克, 镶嵌画, 모자이크""",
    "blueprint": """
        blueprint, blueprints, technical drawing, schematic, schematics, cyanotype, architectural drawing,
        architectural plan, engineering drawing, floor plan, floorplan, patent drawing, cad, cad drawing, wireframe,
        draft, drafting, exploded view, bauplan, blaupause, technische zeichnung, grundriss, plan d architecte,
        dessin technique, cianotipo, plano, planos, dibujo tecnico, planimetria, disegno tecnico, projeto,
        blauwdruk, bouwtekening, чертеж, 青写真, 設計図, 蓝图, 设计图, 청사진""",
    "van gogh": """
        van gogh, vangogh, gogh, vincent, vincent van gogh, starry night, the starry night, impasto, sunflowers,
        post impressionism, post impressionist, nuit etoilee, sternennacht, sonnenblumen, noche estrellada,
        notte stellata, noite estrelada, gwiazdzista noc, ван гог, звездная ночь, ゴッホ, 梵高, 星空, 星月夜, 고흐""",  # noqa: RUF001
    "great wave": """
        great wave, the great wave, wave, waves, the wave, big wave, hokusai, katsushika hokusai,
        great wave off kanagawa, kanagawa, fuji, mount fuji, grande vague, la grande vague, vague, grosse welle,
        welle, gran ola, ola, grande onda, onda, wielka fala, grote golf, хокусай, волна, большая волна, 北斎, 富士,
        富士山, 波, 大波, 巨浪, 神奈川, 海浪, 파도, 호쿠사이""",
    "etching": """
        etching, etchings, etched, drypoint, dry point, intaglio, aquatint, rembrandt, rembrandt etching, goya,
        caprichos, piranesi, whistler, sepia etching, eau forte, pointe seche, radierung, kaltnadel, aguafuerte,
        punta seca, acquaforte, puntasecca, agua forte, ets, akwaforta, офорт, сепия, エッチング, 蚀刻, 蚀刻版画,
        에칭""",
    "pastel": """
        pastel, pastels, soft pastel, chalk pastel, oil pastel, pastel drawing, pastel colours, pastel colors,
        degas, edgar degas, cassatt, mary cassatt, chalk, chalks, odilon redon, redon, kreide, pastellkreide,
        pastell, pastellfarben, craie, gessetto, tiza, tiza pastel, pastelli, pastelkrijt, kreda, pastele, пастель,
        мел, パステル, パステル画, 粉彩, 粉彩画, 粉笔, 파스텔""",
    "expressionist": """
        expressionist, expressionism, expressionistic, kirchner, ernst ludwig kirchner, munch, edvard munch,
        the scream, scream, fauvism, fauvist, matisse, derain, picasso, cubism, cubist, die brucke,
        german expressionism, basquiat, schiele, egon schiele, nolde, emil nolde, soutine, kokoschka,
        expressionismus, expressionnisme, expresionismo, espressionismo, expressionismo, ekspresjonizm, cubisme,
        kubismus, cubismo, экспрессионизм, мунк, крик, 表現主義, 表现主义, ムンク, 표현주의""",
    "stained glass": """
        stained glass, stained glass window, cathedral window, church window, leaded glass, coloured glass,
        colored glass, rose window, tiffany, tiffany glass, tiffany lamp, chartres, sainte chapelle, vitrail,
        vitraux, glasmalerei, kirchenfenster, buntglas, bleiglas, vidriera, vidrieras, vitral, vetrata, vetrate,
        glas in lood, witraz, витраж, ステンドグラス, 彩色玻璃, 花窗, 彩绘玻璃, 스테인드글라스""",
    "ukiyo-e": """
        ukiyo e, ukiyoe, woodblock, woodblock print, japanese woodblock, japanese print, japanese art, japanese,
        hiroshige, utagawa hiroshige, utamaro, kitagawa utamaro, sharaku, kuniyoshi, hasui, kawase hasui, edo,
        edo period, shin hanga, japonais, japonaise, estampe, estampe japonaise, japanisch, japanischer holzschnitt,
        japones, estampa japonesa, giapponese, xilografia giapponese, drzeworyt, japans, укиё э, японская гравюра,
        хиросигэ, 浮世絵, 浮世绘, 広重, 歌麿, 写楽, 우키요에""",
    "renoir": """
        renoir, auguste renoir, pierre auguste renoir, impressionism, impressionist, impressionistic,
        impressionists, monet, claude monet, water lilies, pissarro, sisley, berthe morisot, morisot, manet,
        french impressionism, impressionismus, impressionistisch, impressionnisme, impressionniste, impresionismo,
        impresionista, impressionismo, impressionista, impresjonizm, ренуар, моне, импрессионизм, ルノワール, モネ,
        印象派, 雷诺阿, 莫奈, 르누아르, 모네, 인상파""",
    "kandinsky": """
        kandinsky, wassily kandinsky, vassily kandinsky, composition viii, klee, paul klee, bauhaus, mondrian,
        malevich, suprematism, constructivism, delaunay, miro, joan miro, abstract, abstract art, abstract painting,
        geometric abstraction, de stijl, abstrait, art abstrait, abstrakt, abstrakte kunst, geometrisch, abstracto,
        arte abstracto, geometrico, astratto, arte astratta, abstrato, abstract kunst, abstrakcja, кандинский,
        абстракция, малевич, カンディンスキー, 抽象, 抽象画, 康定斯基, 칸딘스키, 추상화""",
}
"""Style name to the comma-separated names that it goes by. Words that merely suit a style are not among them."""

_FILLER_WORDS = """
    a an the in of on by with and or to at as for from me my i is im it its like make made turn into look looks looking
    style styled stylised stylized styles art artwork painting paint painted picture image photo portrait face video
    frame drawn please mixed mix blend between plus meets also very more less masterpiece quality best high detailed
    beautiful un une le la les l d de du des et en el los las y e o der die das ein eine einem im stil und von mit wie
    estilo stile dans au aux del della da do em no na ma van stijl um uma con avec i w stylu в стиле и
    の と 風 風の のような のように 的 风 风格 和 스타일 의 와 과
"""
_FILLERS = frozenset(_FILLER_WORDS.split())
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def normalise(text: str) -> str:
    """Lower case without accents; a hyphen, an underscore and an apostrophe become spaces."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    # Only Latin marks are dropped: in Japanese a voiced sound is a mark too.
    plain = "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f")
    return unicodedata.normalize("NFC", re.sub(r"[-_'\u2019]", " ", plain))


def unspaced(text: str) -> bool:
    """Whether ``text`` has letters of a script that puts no spaces between words."""
    return _UNSPACED.search(text) is not None


class PhraseIndex:
    """Finds phrases in texts.

    Args:
        styles: phrase to the style it means. Case, accents and hyphens do not matter.
    """

    def __init__(self, styles: Mapping[str, str]) -> None:
        self._style_of = {key(phrase): style for phrase, style in styles.items()}
        self._longest = max(len(phrase.split()) for phrase in self._style_of)
        # Longest first, so that a phrase is not cut by a shorter one inside it.
        run_together = sorted(filter(unspaced, self._style_of), key=len, reverse=True)
        self._run_together = re.compile("|".join(map(re.escape, run_together)) or r"(?!)")

    def with_name(self, name: str) -> PhraseIndex:
        """This index with one more style, which is found by its name, whatever that meant before."""
        return PhraseIndex({**self._style_of, key(name): name})

    def get(self, text: str) -> str | None:
        """The style that the whole of ``text`` means."""
        return self._style_of.get(key(text))

    def spaced(self, text: str) -> str:
        """Normalised ``text`` with spaces around phrases of scripts that have none."""
        return self._run_together.sub(r" \g<0> ", text)

    def tile(self, words: tuple[str, ...]) -> tuple[str, ...] | None:
        """The styles of the phrases that ``words`` are made of; None when a telling word is left over.

        Takes the longest phrase from the left; fillers between phrases are passed over. () when there are only fillers.
        """
        found: list[str] = []
        start = 0
        while start < len(words):
            ends = range(min(len(words), start + self._longest), start, -1)
            end = next((end for end in ends if " ".join(words[start:end]) in self._style_of), None)
            if end is not None:
                found.append(self._style_of[" ".join(words[start:end])])
            elif words[start] not in _FILLERS:
                return None
            start = end or start + 1
        return tuple(found)


def key(phrase: str) -> str:
    """The form that phrases are compared in."""
    return " ".join(normalise(phrase).split())


def known_phrases() -> PhraseIndex:
    """The index of `PHRASES`."""
    return PhraseIndex({phrase: style for style, listed in PHRASES.items() for phrase in listed.split(",")})
