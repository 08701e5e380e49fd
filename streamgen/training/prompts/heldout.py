"""Prompts written by hand, as people on a stream would type them: what the encoder is scored on and never taught.

They were written before the training phrasebook was, and no template made any of them. Every second one is for tuning
(`DEV`); the figures that are published come from the others (`TEST`).
"""

from __future__ import annotations

__all__ = ["DEV", "OUTSIDE_DEV", "OUTSIDE_TEST", "TEST"]

_STYLES: dict[str, str] = {
    "pencil": """
        a quick doodle from someone's sketchbook / like I was drawn with an HB in maths class
        school notebook scribbles / graphite portrait with soft cross hatching / rough sketch before the colours go on
        draw me with a number 2 pencil / unfinished line drawing on white paper / the a-ha take on me video
        loose gesture drawing from life class / hand sketched storyboard frame / comme un croquis au crayon gris
        silverpoint study of a face / shaded with a lead pencil and an eraser
        architect's freehand sketch, thin grey lines""",
    "charcoal": """
        smudgy black sticks on rough paper / burnt wood drawing with deep shadows / smeared carbon portrait, very dark
        dusty black drawing from an art school nude class / drawn with a lump of coal from the fireplace
        soot and ash, dramatic chiaroscuro sketch / kathe kollwitz mood / mit Kohle auf grobes Papier gezeichnet
        blackened fingers, smudged shadows, toned paper / moody compressed charcoal figure study
        vine charcoal and kneaded eraser highlights / grainy black strokes rubbed with a thumb
        cave wall drawing in black / bold sooty marks and blurry smears""",
    "ink": """
        brush and chinese ink on rice paper / sumi-e bamboo / zen calligraphy strokes
        black brushwork with lots of empty space / rorschach blots / fountain pen scribble
        splattered ink from a dip pen / monochrome brush painting by a buddhist monk / inktober entry
        wet black wash and dry brush / 水墨画のように / squid ink all over the page / nib and india ink illustration
        one single black brush line""",
    "engraving": """
        the portrait on a dollar bill / lines like on a banknote / old bible illustration by dürer
        victorian book plate / gustave dore illustration for dante / copper plate lines swelling and thinning
        melencolia / 19th century encyclopedia illustration / burin lines cut in metal
        une gravure sur cuivre ancienne / knight death and the devil / like the face printed on money
        antique scientific illustration of a beetle / stamp portrait with fine parallel lines""",
    "comic": """
        like a page from a marvel issue / superhero with bold outlines / saturday morning cartoon
        make me an anime character / cel shaded like borderlands / speech bubbles and action panels
        spider-verse frame / tintin and asterix / shonen manga hero / graphic novel panel with thick black outlines
        so wie in einem Zeichentrickfilm / wham pow kaboom / flat colours and black contour lines like the simpsons
        telltale walking dead game look""",
    "neon": """
        cyberpunk 2077 street at midnight / synthwave sunset with a grid / tron legacy lightcycle / blade runner rain
        glowing tubes in a bar window / vaporwave mall / 80s arcade with laser lights / pink and cyan glow in the dark
        rave under blacklight / las vegas signs at night / luces de discoteca y láser / glowing outlines on black
        hotline miami vibes / tokyo nightlife electric signs""",
    "watercolor": """
        wet pigment bleeding into paper / soft washes of colour with white paper showing through / aquarelle landscape
        children's book illustration with runny paint / loose wet-on-wet flowers
        delicate translucent paint, drips and blooms / turner's misty sketches / winsor and newton pan set
        botanical illustration with pale washes / paint that ran because of too much water
        acuarela de un paisaje suave / beatrix potter rabbits / diluted paint splashes on cold press paper
        gouache and a big wet brush""",
    "poster": """
        obama hope / andy warhol marilyn / soviet propaganda / flat screen printed colours / pop art soup can
        vintage travel advert for the national parks / art deco cinema bill / banksy stencil on a wall
        minimalist gig flyer in four flat colours / we can do it, rosie the riveter / ein altes Reiseplakat
        bold vector shapes, limited palette / campaign print with big flat areas of red and blue
        toulouse lautrec moulin rouge""",
    "oil": """
        old master on canvas / rembrandt lighting, thick varnish / dutch golden age portrait / mona lisa
        baroque painting with dark background / classical portrait that hangs in a museum / caravaggio
        visible canvas and rich glazes / girl with a pearl earring / un ritratto a olio del seicento
        bob ross happy little trees / palette knife and linseed / velazquez court portrait
        renaissance master piece in a gilded frame""",
    "halftone": """
        newspaper dots / roy lichtenstein crying girl / ben day dots / old newsprint photo made of little dots
        like a magnified magazine print / cmyk dot screen / black dots of different sizes
        photo reproduced in a cheap newspaper / punktraster wie in der Zeitung / big printing dots, retro
        rasterised dot pattern / shading made only of dots / printed in rows of tiny circles
        dotty print from the sixties funnies""",
    "risograph": """
        two colour zine print with misaligned layers / grainy spot ink, fluorescent pink and teal / indie zine cover
        slightly off register print on recycled paper / riso print please
        overlapping transparent inks, grain and misregistration / soy ink duplicator print
        self published art book in two spot colours / cheap duplicator, coral and mint ink
        impression en deux tons décalés / printed at the local riso studio / duotone print with visible grain
        independent press flyer, ink slightly shifted / art school zine, blue and orange overprint
        speckled ink layers that do not line up""",
    "pixel art": """
        8-bit nintendo / super mario on the nes / 16 bit sprite / game boy screen / minecraft blocks, chunky squares
        old dos game graphics / stardew valley / like a pokemon from gen one / low res retro game
        jrpg character for the super nintendo / commodore 64 demo / blocky squares you can count
        im Stil eines alten Videospiels / undertale battle screen""",
    "low poly": """
        ps1 era 3d model / triangles everywhere / faceted 3d mesh / made of flat shaded polygons / origami like facets
        unity asset store nature pack / early 3d graphics with few polygons / triangulated wallpaper
        papercraft 3d animal / hecho de triángulos planos / crystal like geometric facets / monument valley
        polygonal fox, flat shading / virtua fighter head""",
    "mosaic": """
        roman floor tiles / byzantine icon of ravenna / little coloured stones set in cement / gaudi park guell bench
        tesserae of glass and gold / pompeii villa floor / made out of broken tiles / trencadís
        tiled bathroom wall picture / hagia sophia ceiling / aus vielen kleinen Steinchen gelegt
        chips of ceramic and grout / space invader tiles on a paris wall / alexander mosaic from antiquity""",
    "blueprint": """
        technical drawing with white lines on blue / architect's plan / engineering schematics / cad drawing
        floor plan of a house / patent drawing of a machine / cyanotype plan of a spaceship
        construction document with measurements / death star plans / disegno tecnico su carta blu
        white chalk lines on blueprint paper / iron man's suit schematics / exploded view diagram
        drafting table with compass and ruler""",
    "van gogh": """
        starry night, swirling brush strokes / sunflowers in a vase / the guy who cut off his ear
        thick swirling paint and a yellow moon / wheatfield with crows / vincent / swirly sky over a village
        impasto whirls in blue and yellow / cafe terrace at night / la nuit étoilée / bedroom in arles
        cypress trees twisting into the sky / dutch post impressionist with the straw hat
        irises in turbulent strokes""",
    "great wave": """
        hokusai / kanagawa / huge wave with foam claws / tsunami over little boats / ocean storm in prussian blue
        mount fuji behind a giant breaker / that famous japanese wave / surf and sea foam in indigo / thirty-six views
        la grande onda giapponese / wave emoji but as art / fishing boats in towering waves / stormy sea print
        curling wave about to crash""",
    "etching": """
        acid bitten lines on an old plate / rembrandt print / sepia scratches on yellowed paper / goya caprichos
        drypoint with burr / treasure map parchment / piranesi prisons / old sepia print with scratchy lines
        needle lines in wax ground / whistler's venice prints / eine alte Radierung / ink scratched onto a zinc plate
        aged brown paper with fine scratchy lines / vintage map illustration in brown""",
    "pastel": """
        soft chalk on coloured paper / degas ballerinas / dusty pink and lavender / dreamy soft candy colours
        powdery chalk drawing / blended with the fingertips, velvety / oil pastels like in kindergarten
        cotton candy sky / gentle muted baby colours / mit Pastellkreide gemalt / soft sticks on velvet paper
        mary cassatt mother and child / sidewalk chalk / fairy tale in soft lilac""",
    "expressionist": """
        the scream / munch / jagged angry brush strokes / berlin street scene by kirchner
        distorted faces, acid colours / die brücke / egon schiele anxious body / raw emotion, clashing colours
        cabinet of dr caligari / angst and anger on canvas / peinture violente aux couleurs criardes / basquiat crown
        green face and purple shadows like the fauves / wild distorted anguish""",
    "stained glass": """
        church window / cathedral window with light coming through / lead lines between coloured panes / tiffany lamp
        notre dame rose window / gothic cathedral / saint in a chapel window / like a window in sainte chapelle
        translucent panes of red and blue / wie ein Kirchenfenster / leaded glass panel
        medieval window with an apostle / sun shining through colored glass / louis comfort tiffany dragonflies""",
    "ukiyo-e": """
        japanese woodblock print / hiroshige / edo period / geisha with a parasol / kabuki actor print by sharaku
        utamaro beauty / pictures of the floating world / samurai on an old japanese print
        fifty-three stations of the tokaido / woodblock with cherry blossoms and a bridge in the rain
        estampe japonaise / kimono and cherry blossom, flat colours, old japan / kyoto courtesan in kimono
        rain over ohashi bridge""",
    "renoir": """
        luncheon of the boating party / dappled sunlight on a summer dance / impressionist garden party
        moulin de la galette / rosy cheeks and feathery brushwork / french impressionism
        monet's garden with water lilies / ladies in hats by the seine / quiet pond with lilies
        sunny picnic by the river, soft light / impressionistisches Gartenfest / warm skin tones, feathery light
        girls at the piano / paris 1880, light flickering through leaves""",
    "kandinsky": """
        abstract circles and lines / bauhaus geometry / composition VIII / colourful abstract shapes floating around
        squares with concentric circles / paul klee / geometric abstraction / music turned into shapes
        suprematism, malevich / mondrian / abstrakte Formen und bunte Kreise
        non figurative, triangles, arcs and a checkerboard / several circles / shapes and colors, no objects at all""",
}

_OUTSIDE = """
    tax return form / asdf qwer / my router keeps disconnecting / what time is the meeting tomorrow
    pepperoni pizza recipe / jkl jkl jkl / blorptang vizzmo / turn up the microphone volume / quarterly sales report
    how do I reset my password / python import error / gg ez noob / lol xd / subscribe and hit the bell / ghjkfd sdfgh
    please stop lagging / dentist appointment on monday / insurance policy number / buy milk and eggs / xqzt 93kf
    the train is late again / who won the football game / mortgage interest rate / keyboard driver update / zzzzzz
    1234 5678 / can you hear me / my dog ate the homework / javascript promise / shipping and handling
    terms and conditions apply / bitcoin price today / qwertyuiop / where is the bathroom / wednesday
    economic policy of the european union / flurbo gnaxt / call the plumber / printer out of toner
    chicken soup for dinner / hello everyone welcome to the stream / fix the bug in production / battery at ten percent
    unemployment statistics / cough medicine for kids / parking ticket / Steuererklärung bis Freitag abgeben
    où est la gare / cuánto cuesta el billete / какая сегодня погода / 明日の会議は何時ですか / rent is due
    gross domestic product / ffffff / how many calories in a banana / the plaintiff filed a motion
    vitamin d deficiency / set a timer for ten minutes / airport security line / job interview tips / wrtpl mnbvc
    database migration failed / toothpaste / monthly gym membership / oil change for my car
    software licence agreement / brb getting coffee / hjasd uiwqe nmzx / stock market crash / plastic bags
    speed limit fifty / unsubscribe me from this list / eleventy seven / kidney stones / carpool on tuesday
    photosynthesis homework"""


def _split(block: str) -> list[str]:
    return [prompt.strip() for line in block.splitlines() for prompt in line.split(" / ") if prompt.strip()]


DEV: dict[str, list[str]] = {style: _split(block)[::2] for style, block in _STYLES.items()}
"""Style to prompts that may be looked at while the phrasebook and the training are tuned."""
TEST: dict[str, list[str]] = {style: _split(block)[1::2] for style, block in _STYLES.items()}
"""Style to prompts that are for the published figures alone."""
OUTSIDE_DEV: list[str] = _split(_OUTSIDE)[::2]
"""Texts that ask for no look; `understood` is calibrated on them."""
OUTSIDE_TEST: list[str] = _split(_OUTSIDE)[1::2]
"""Texts that ask for no look, for the published figures alone."""
