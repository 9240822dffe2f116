"""The same few sentences in many languages. For tests only."""

PROSE = {
    "en": "First we count the apples that are left in the basket. She had twelve of them and gave five to her brother. "
    "That leaves seven apples. Then she buys three more at the market, so she has ten apples in the end.",
    "de": "Zuerst zählen wir die Äpfel, die noch im Korb liegen. Sie hatte zwölf davon und gab ihrem Bruder fünf. "
    "Es bleiben also sieben Äpfel übrig. Dann kauft sie auf dem Markt noch drei dazu, am Ende hat sie zehn Äpfel.",
    "es": "Primero contamos las manzanas que quedan en la cesta. Ella tenía doce y le dio cinco a su hermano. "
    "Por lo tanto quedan siete manzanas. Después compra tres más en el mercado, así que al final tiene diez manzanas.",
    "fr": "D'abord nous comptons les pommes qui restent dans le panier. Elle en avait douze et en a donné cinq à son frère. "
    "Il reste donc sept pommes. Ensuite elle en achète trois de plus au marché, et elle a donc dix pommes à la fin.",
    "ru": "Сначала посчитаем яблоки, которые остались в корзине. У неё было двенадцать яблок, и пять она отдала брату. "
    "Значит, осталось семь яблок. Потом она купила на рынке ещё три, поэтому в конце у неё десять яблок.",
    "zh": "首先我们数一数篮子里还剩下多少苹果。她原来有十二个苹果，给了弟弟五个。所以还剩下七个苹果。然后她在市场上又买了三个，最后她一共有十个苹果。",
    "ja": "まず、かごに残っているりんごを数えます。彼女は十二個のりんごを持っていて、弟に五個あげました。したがって七個残ります。その後、市場でさらに三個買ったので、最後には十個になります。",
    "th": "ก่อนอื่นเรานับแอปเปิ้ลที่เหลืออยู่ในตะกร้า เธอมีแอปเปิ้ลสิบสองลูกและให้น้องชายไปห้าลูก ดังนั้นจึงเหลือแอปเปิ้ลเจ็ดลูก จากนั้นเธอซื้อเพิ่มอีกสามลูกที่ตลาด สุดท้ายเธอจึงมีแอปเปิ้ลสิบลูก",
    "bn": "প্রথমে আমরা ঝুড়িতে বাকি থাকা আপেল গুনি। তার কাছে বারোটি আপেল ছিল এবং সে তার ভাইকে পাঁচটি দিয়েছে। তাই সাতটি আপেল বাকি থাকে। তারপর সে বাজার থেকে আরও তিনটি কিনেছে, শেষে তার দশটি আপেল আছে।",
    "nl": "Eerst tellen we de appels die nog in de mand liggen. Ze had er twaalf en gaf er vijf aan haar broer. "
    "Er blijven dus zeven appels over. Daarna koopt ze er op de markt nog drie bij, zodat ze er uiteindelijk tien heeft.",
    "ko": "먼저 바구니에 남아 있는 사과를 세어 봅시다. 그녀는 사과 열두 개를 가지고 있었고 동생에게 다섯 개를 주었습니다. "
    "그래서 일곱 개의 사과가 남습니다. 그 다음 시장에서 세 개를 더 샀으므로 마지막에는 열 개가 있습니다.",
}
